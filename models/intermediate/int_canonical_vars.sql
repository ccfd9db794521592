with

calls as (

    select * from {{ ref('stg_justai__calls') }}

),

-- grouping by the text costs little; canonicalising and hashing each call would cost more than all the rest
logged as (

    select distinct
        template_id,
        vars
    from calls

),

canonical as (

    select
        template_id,
        vars as logged_vars,
        {{ canonical_json('vars') }} as vars
    from logged

),

final as (

    select
        template_id,
        logged_vars,
        vars,
        md5(template_id || {{ newline() }} || vars) as content_hash
    from canonical

)

select * from final
