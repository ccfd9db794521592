with

members as (

    select * from {{ ref('stg_customerio_api__segment_members') }}

),

keyed as (

    select
        segment_id,
        case
            when person_key like 'email:%'
                then 'email:' || md5({{ plain_email("substr(person_key, length('email:') + 1)") }})
            else person_key
        end as person_key,
        cio_id,
        user_id,
        extracted_at
    from members

),

final as (

    -- an address in two spellings is one person
    select
        segment_id,
        person_key,
        cio_id,
        user_id,
        min(extracted_at) as first_read_at
    from keyed
    group by segment_id, person_key, cio_id, user_id

)

select * from final
