with

calls as (

    select * from {{ ref('stg_justai__calls') }}

),

canonical_vars as (

    select * from {{ ref('int_canonical_vars') }}

),

canonical_attrs as (

    select * from {{ ref('int_canonical_attrs') }}

),

contents as (

    select * from {{ ref('int_copy_contents') }}

),

-- content_hash stands for template_id and vars, which keeps the long text out of the distinct
distinct_calls as (

    select distinct
        calls.event_timestamp,
        calls.called_at,
        calls.user_id,
        calls.campaign_id,
        calls.action_id,
        calls.journey_id,
        calls.copy_id,
        canonical_vars.content_hash,
        canonical_attrs.attrs
    from calls
    inner join canonical_vars
        on
            calls.template_id = canonical_vars.template_id
            and calls.vars = canonical_vars.logged_vars
    inner join canonical_attrs
        on calls.attrs = canonical_attrs.logged_attrs

),

final as (

    select
        case
            when distinct_calls.journey_id is not null and distinct_calls.action_id is not null
                then {{ surrogate_key(['distinct_calls.journey_id', 'distinct_calls.action_id']) }}
            else {{ surrogate_key([
                'distinct_calls.event_timestamp', 'distinct_calls.user_id', 'distinct_calls.campaign_id',
                'distinct_calls.action_id', 'distinct_calls.journey_id', 'distinct_calls.copy_id',
                'contents.template_id', 'contents.vars', 'distinct_calls.attrs',
            ]) }}
        end as delivery_key,
        distinct_calls.event_timestamp,
        distinct_calls.called_at,
        {{ reporting_date('distinct_calls.called_at') }} as call_date,
        distinct_calls.user_id,
        distinct_calls.campaign_id,
        distinct_calls.action_id,
        distinct_calls.journey_id,
        distinct_calls.copy_id,
        contents.template_id,
        contents.vars,
        distinct_calls.attrs,
        distinct_calls.content_hash
    from distinct_calls
    inner join contents
        on distinct_calls.content_hash = contents.content_hash

)

select * from final
