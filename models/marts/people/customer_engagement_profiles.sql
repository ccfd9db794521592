{{ config(materialized='view') }}

{% set times = all_profile_times() %}
{% set of_totals = ['person_key', 'first_event_at', 'last_event_at', 'events_counted', 'latest_copies'] %}

with

totals as (

    select * from {{ ref('int_person_totals') }}

),

person_ids as (

    select * from {{ ref('int_person_ids') }}

),

api_campaigns as (

    select * from {{ ref('stg_customerio_api__campaigns') }}

),

sync_campaigns as (

    select * from {{ ref('stg_customerio__campaigns') }}

),

-- of several, the one that came last
ranked_ids as (

    select
        person_key,
        identifier_type,
        identifier_value,
        row_number() over (
            partition by person_key, identifier_type
            order by last_seen_at desc nulls last, identifier_value
        ) as place
    from person_ids

),

latest_ids as (

    select
        person_key,
        max(case when identifier_type = 'customer_id' then identifier_value end) as customer_id,
        max(case when identifier_type = 'cio_id' then identifier_value end) as cio_id,
        max(case when identifier_type = 'email' then identifier_value end) as email
    from ranked_ids
    where place = 1
    group by person_key

),

campaign_names as (

    select
        campaign_id,
        name
    from api_campaigns

    union all

    select
        sync_campaigns.campaign_id,
        sync_campaigns.name
    from sync_campaigns
    left join api_campaigns
        on sync_campaigns.campaign_id = api_campaigns.campaign_id
    where api_campaigns.campaign_id is null

),

campaign_sets as (

    select distinct campaigns
    from totals

),

campaign_members as (

    {{ json_members('campaign_sets', ['campaigns'], 'campaigns') }}

),

named_campaigns as (

    select distinct
        campaign_members.campaigns,
        campaign_names.name
    from campaign_members
    inner join campaign_names
        on campaign_members.member_key = cast(campaign_names.campaign_id as {{ dbt.type_string() }})
    where campaign_names.name is not null

),

names_of_sets as (

    select
        campaigns,
        '[' || {{ dbt.listagg(json_string('name'), "','", 'order by name') }} || ']' as campaign_names
    from named_campaigns
    group by campaigns

),

opened as (

    select
        {{ columns_of('totals', of_totals + person_counts()) }},
        {{ json_fields('latest_events', times | map('last') | list) }} as latest
    from totals

),

final as (

    select
        opened.person_key,
        latest_ids.customer_id as cio_customer_id,
        latest_ids.cio_id,
        latest_ids.email,
        {%- for field, event in times %}
        {{ unix_to_timestamp('cast(' ~ json_field('opened.latest', event) ~ ' as ' ~ dbt.type_bigint() ~ ')') }}
            as {{ field }},
        {%- endfor %}
        {{ json_names('opened.campaigns') }} as cio_campaign_ids,
        names_of_sets.campaign_names as cio_campaign_names,
        {{ json_names('opened.journeys') }} as cio_journey_ids,
        {{ json_names('opened.channels') }} as cio_channels,
        {{ json_names('opened.subjects') }} as cio_subjects,
        nullif(opened.events, '{}') as cio_events,
        nullif(opened.human_events, '{}') as human_cio_events,
        nullif(opened.urls, '{}') as hashedurls,
        nullif(opened.human_urls, '{}') as human_hashedurls,
        nullif(opened.open_hours, '{}') as cio_email_hourlyopens,
        nullif(opened.human_open_hours, '{}') as human_cio_email_hourlyopens,
        opened.first_event_at as first_seen_at,
        opened.last_event_at as last_seen_at,
        opened.events_counted as events,
        nullif(opened.copies, '{}') as copies_received,
        -- the time stands before the copy, as eleven digits
        nullif({{ replace_matches('opened.latest_copies', ':"[0-9]{11}', ':"') }}, '{}') as last_copy_by_template
    from opened
    inner join latest_ids
        on opened.person_key = latest_ids.person_key
    left join names_of_sets
        on opened.campaigns = names_of_sets.campaigns

)

select * from final
